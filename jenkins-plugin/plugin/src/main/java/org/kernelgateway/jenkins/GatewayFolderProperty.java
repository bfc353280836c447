package org.kernelgateway.jenkins;

import com.cloudbees.hudson.plugins.folder.AbstractFolder;
import com.cloudbees.hudson.plugins.folder.AbstractFolderProperty;
import com.cloudbees.hudson.plugins.folder.AbstractFolderPropertyDescriptor;
import edu.umd.cs.findbugs.annotations.NonNull;
import hudson.Extension;
import hudson.Util;
import hudson.model.ItemGroup;
import org.jenkinsci.Symbol;
import org.kohsuke.stapler.DataBoundConstructor;
import org.kohsuke.stapler.DataBoundSetter;

/** A folder's own gateway and credential, for all jobs below it. Loaded only where the plugin cloudbees-folder is. */
public class GatewayFolderProperty extends AbstractFolderProperty<AbstractFolder<?>> {
    private String gateway;
    private String credentialsId;

    @DataBoundConstructor
    public GatewayFolderProperty() {}

    public String getGateway() {
        return gateway;
    }

    @DataBoundSetter
    public void setGateway(String gateway) {
        this.gateway = Util.fixEmptyAndTrim(gateway);
    }

    public String getCredentialsId() {
        return credentialsId;
    }

    @DataBoundSetter
    public void setCredentialsId(String credentialsId) {
        this.credentialsId = Util.fixEmptyAndTrim(credentialsId);
    }

    @Extension(optional = true)
    public static class Reader implements FolderSettings.Source {
        @Override
        public FolderSettings of(ItemGroup<?> group) {
            if (!(group instanceof AbstractFolder)) {
                return null;
            }
            GatewayFolderProperty property =
                    ((AbstractFolder<?>) group).getProperties().get(GatewayFolderProperty.class);
            return property == null || (property.gateway == null && property.credentialsId == null)
                    ? null
                    : new FolderSettings(group, property.gateway, property.credentialsId);
        }
    }

    @Extension(optional = true)
    @Symbol("kernelGateway")
    public static class DescriptorImpl extends AbstractFolderPropertyDescriptor implements GatewayForm {
        @NonNull
        @Override
        public String getDisplayName() {
            return "Kernel gateway";
        }
    }
}
